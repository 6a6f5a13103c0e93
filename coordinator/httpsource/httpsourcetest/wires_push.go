package httpsourcetest

import "time"

func push() []Wire {
	return []Wire{
		{
			Preset: "huawei_push", Parameters: map[string]string{"client_id": "12345678", "client_secret": "0cdb7a5d9f5d8a2b1c"},
			Request: "POST https://oauth-login.cloud.huawei.com/oauth2/v3/token\nContent-Type: application/x-www-form-urlencoded\n\n" +
				"grant_type=client_credentials&client_id={client_id}&client_secret={client_secret}",
			Answer:  `{"access_token":"{token}","expires_in":{life},"token_type":"Bearer"}`,
			Refused: Reply{400, `{"sub_error":20001,"error_description":"invalid client_secret","error":1101}`},
			Use:     "Authorization: Bearer {token}", Rejected: Reply{401, `{"code":"80200003","msg":"OAuth token expired.","requestId":"157"}`},
			Knobs: Knobs{
				Repeat: keeps, Life: time.Hour, Prefix: "CwEAAAAA/", Calls: 1000, Window: 5 * time.Minute,
				Limited: Reply{503, "<html>503 Service Temporarily Unavailable</html>"},
			},
			Failures: []Failure{
				{Reply{400, `{"sub_error":20001,"error_description":"invalid client_id","error":1101}`}, refused, "1101", 0},
				{Reply{503, "<html>503 Service Temporarily Unavailable</html>"}, later, "", 5 * time.Minute},
			},
		},
		{
			Preset: "honor_push", Parameters: map[string]string{"client_id": "b7d0f2a94c1e", "client_secret": "q9RbYx1vT4mKc0Za"},
			Request: "POST https://iam.developer.honor.com/auth/token\nContent-Type: application/x-www-form-urlencoded\n\n" +
				"grant_type=client_credentials&client_id={client_id}&client_secret={client_secret}",
			Answer:   `{"access_token":"{token}","expires_in":{life},"token_type":"Bearer"}`,
			Refused:  Reply{401, `{"error":"invalid_client"}`},
			Knobs:    Knobs{Repeat: kills, Life: time.Hour},
			Failures: []Failure{{Reply{401, `{"error":"invalid_client"}`}, refused, "invalid_client", 0}},
		},
		{
			Preset: "oppo_push", Parameters: map[string]string{"app_key": "9c2b1a0f7d6e", "master_secret": "5e4d3c2b1a09f8e7", "host": "api.push.oppomobile.com"},
			Request: "POST https://api.push.oppomobile.com/server/v1/auth\nContent-Type: application/x-www-form-urlencoded\n\n" +
				"app_key={app_key}&timestamp={timestamp_ms}&sign={sha256 app_key timestamp_ms master_secret}",
			Answer:   `{"code":0,"message":"success","data":{"auth_token":"{token}","create_time":{now_ms}}}`,
			Refused:  Reply{200, `{"code":16,"message":"Invalid Signature"}`},
			Use:      "auth_token: {token}",
			Rejected: Reply{200, `{"code":11,"message":"Invalid AuthToken"}`},
			Knobs:    Knobs{Repeat: kills, Life: 24 * time.Hour},
			Failures: []Failure{
				bad(`{"code":14,"message":"Invalid AppKey"}`, refused, "14"),
				bad(`{"code":16,"message":"Invalid Signature"}`, refused, "16"),
				bad(`{"code":-1,"message":"Service Currently Unavailable"}`, busy, "-1"),
				{Reply{200, `{"code":13,"message":"App Call Limited"}`}, later, "13", time.Minute},
			},
		},
		{
			Preset: "vivo_push", Parameters: map[string]string{"app_id": "10004", "app_key": "25509283-3767-4b9e-83fe-b6e55ac6243e", "app_secret": "d8ed2c5e-5c3a-4d0f"},
			Request: "POST https://api-push.vivo.com.cn/message/auth\nContent-Type: application/json\n\n" +
				`{"appId":"{app_id}","appKey":"{app_key}","timestamp":{timestamp_ms},"sign":"{md5 app_id app_key timestamp_ms app_secret}"}`,
			Answer:   `{"result":0,"desc":"请求成功","authToken":"{token}"}`,
			Refused:  Reply{200, `{"result":10206,"desc":"sign 不正确"}`},
			Use:      "authToken: {token}",
			Rejected: Reply{200, `{"result":10000,"desc":"authToken invalid"}`},
			Knobs:    Knobs{Repeat: keeps, Life: 24 * time.Hour, Length: 36},
			Failures: []Failure{
				bad(`{"result":10200,"desc":"appId 不能为空"}`, refused, "10200"),
				bad(`{"result":10206,"desc":"sign 不正确"}`, refused, "10206"),
				bad(`{"result":10999,"desc":"未知"}`, busy, "10999"),
			},
		},
		{
			Preset: "getui", Parameters: map[string]string{"app_id": "ywMZ5yKZ9v6JfVkKm", "app_key": "YZkTKbz91l84HyM0TGlb38", "master_secret": "b66307af63a46d84"},
			Request: "POST https://restapi.getui.com/v2/{app_id}/auth\nContent-Type: application/json;charset=utf-8\n\n" +
				`{"sign":"{sha256 app_key timestamp_ms master_secret}","timestamp":"{timestamp_ms}","appkey":"{app_key}"}`,
			Answer:   `{"code":0,"msg":"success","data":{"expire_time":"{ends_ms}","token":"{token}"}}`,
			Refused:  Reply{400, `{"code":20001,"msg":"sign is invalid"}`},
			Use:      "token: {token}",
			Rejected: Reply{401, `{"code":10001,"msg":"token error"}`},
			Knobs: Knobs{
				Repeat: kills, Life: 24 * time.Hour, Calls: 100, Window: time.Minute,
				Limited: Reply{401, `{"code":10003,"msg":"auth frequency over limit"}`},
			},
			Failures: []Failure{
				{Reply{401, `{"code":10003,"msg":"auth frequency over limit"}`}, later, "10003", time.Minute},
				{Reply{401, `{"code":10002,"msg":"appId or ip in blacklist"}`}, refused, "10002", 0},
				{Reply{400, `{"code":20001,"msg":"sign is invalid"}`}, refused, "20001", 0},
				bad(`{"code":2,"msg":"starting"}`, busy, "2"),
			},
		},
	}
}
