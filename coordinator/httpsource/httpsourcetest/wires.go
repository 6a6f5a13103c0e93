package httpsourcetest

import (
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

const (
	kills = coordinator.RepeatKills
	same  = coordinator.RepeatSame
	keeps = coordinator.RepeatKeeps

	refused = coordinator.FailedRefused
	later   = coordinator.FailedLater
	busy    = coordinator.FailedBusy
	unknown = coordinator.FailedUnknown
	parent  = coordinator.FailedParent
)

// bad returns the failure that an answer with HTTP status 200 is.
func bad(body string, kind coordinator.FailureKind, code coordinator.Code) Failure {
	return Failure{Reply: Reply{200, body}, Kind: kind, Code: code}
}

// Wires returns what goes over the wire for each preset of package httpsource.
func Wires() []Wire {
	var all []Wire
	for _, group := range [][]Wire{feishu(), dingTalk(), douyin(), tencent(), others(), push()} {
		all = append(all, group...)
	}
	return all
}

// WireOf returns the Wire of a preset.
func WireOf(preset string) (Wire, bool) {
	for _, w := range Wires() {
		if w.Preset == preset {
			return w, true
		}
	}
	return Wire{}, false
}

func feishu() []Wire {
	app := map[string]string{"app_id": "cli_9f5343c580712544", "app_secret": "dskLLdkasdjlasdKK-feishu", "host": "open.feishu.cn"}
	badSecret := `{"code":10014,"msg":"app secret invalid"}`
	badToken := Reply{400, `{"code":99991663,"msg":"Invalid access token for authorization. Please make a test attempt with a valid token."}`}
	codes := []Failure{
		bad(badSecret, refused, "10014"),
		bad(`{"code":10003,"msg":"invalid param"}`, refused, "10003"),
		bad(`{"code":2200,"msg":"Internal Error"}`, busy, "2200"),
	}
	knobs := Knobs{Repeat: same, Life: 2 * time.Hour, Rollover: 30 * time.Minute, Prefix: "t-g1"}
	return []Wire{
		{
			Preset: "feishu_tenant", Parameters: app,
			Request: "POST https://open.feishu.cn/open-apis/auth/v3/tenant_access_token/internal\nContent-Type: application/json\n\n" +
				`{"app_id":"{app_id}","app_secret":"{app_secret}"}`,
			Answer:  `{"code":0,"expire":{life},"msg":"ok","tenant_access_token":"{token}"}`,
			Refused: Reply{200, badSecret}, Use: "Authorization: Bearer {token}", Rejected: badToken,
			Knobs: knobs, Failures: codes,
		},
		{
			Preset: "feishu_app", Parameters: app,
			Request: "POST https://open.feishu.cn/open-apis/auth/v3/app_access_token/internal\nContent-Type: application/json\n\n" +
				`{"app_id":"{app_id}","app_secret":"{app_secret}"}`,
			Answer:  `{"app_access_token":"{token}","code":0,"expire":{life},"msg":"ok","tenant_access_token":"t-other"}`,
			Refused: Reply{200, badSecret}, Use: "Authorization: Bearer {token}",
			Rejected: Reply{400, `{"code":99991664,"msg":"app access token invalid"}`},
			Knobs:    knobs, Failures: codes,
		},
		{
			Preset: "feishu_oauth", Parameters: map[string]string{"client_id": "cli_9f5343c580712544", "client_secret": "dskLLdkasdjlasdKK-feishu"},
			Request: "POST https://accounts.feishu.cn/oauth/v3/token\nContent-Type: application/x-www-form-urlencoded\n\n" +
				"grant_type=client_credentials&client_id={client_id}&client_secret={client_secret}",
			Answer:  `{"access_token":"{token}","token_type":"Bearer","expires_in":{life}}`,
			Refused: Reply{400, `{"error":"invalid_client","error_description":"The client secret is invalid."}`},
			Use:     "Authorization: Bearer {token}", Rejected: badToken,
			Knobs: Knobs{Repeat: kills, Life: 2 * time.Hour, Prefix: "eyJhbGciOiJFUzI1NiJ9.", Length: 8 << 10, Calls: 1000, Window: time.Minute},
			Failures: []Failure{
				{Reply{400, `{"error":"invalid_client","error_description":"The client secret is invalid."}`}, refused, "invalid_client", 0},
				{Reply{400, `{"error":"invalid_request","error_description":"20070"}`}, busy, "invalid_request", 0},
			},
		},
		{
			Preset: "feishu_jsapi_ticket", Parameters: map[string]string{"host": "open.feishu.cn"},
			Request: "POST https://open.feishu.cn/open-apis/jssdk/ticket/get\nAuthorization: Bearer {parent_token}",
			Answer:  `{"code":0,"msg":"ok","data":{"expire_in":{life},"ticket":"{token}"}}`,
			Parent:  badToken,
			Knobs:   Knobs{Repeat: same, Life: 2 * time.Hour, FullLife: true},
			Failures: []Failure{
				{badToken, parent, "99991663", 0},
				bad(`{"code":99991671,"msg":"must be tenant_access_token or user_access_token"}`, parent, "99991671"),
			},
		},
	}
}

func dingTalk() []Wire {
	page := Reply{200, "<html><head><title>Sentinel</title></head><body>flow control</body></html>"}
	blocked := Failure{page, later, "", 5 * time.Minute}
	badToken := Reply{200, `{"errcode":40014,"errmsg":"不合法的access_token"}`}
	return []Wire{
		{
			Preset:     "dingtalk_legacy",
			Parameters: map[string]string{"appkey": "dingeqqpkv3xxxxxx", "appsecret": "GT-lsu-taDAxxxsTsxxxx"},
			Request:    "GET https://oapi.dingtalk.com/gettoken?appkey={appkey}&appsecret={appsecret}",
			Answer:     `{"errcode":0,"access_token":"{token}","errmsg":"ok","expires_in":{life}}`,
			Refused:    Reply{200, `{"errcode":40089,"errmsg":"不合法的corpId或corpSecret"}`},
			Use:        "?access_token={token}", Rejected: Reply{200, `{"errcode":88,"sub_code":"40014","errmsg":"ding talk error","sub_msg":"不合法的access_token"}`},
			Knobs: Knobs{
				Repeat: same, Life: 2 * time.Hour, Extends: true, Length: 32,
				Calls: 10000, Window: 20 * time.Second, Limited: page,
			},
			Failures: []Failure{
				bad(`{"errcode":40089,"errmsg":"不合法的corpId或corpSecret"}`, refused, "40089"),
				bad(`{"errcode":88,"sub_code":"40089","errmsg":"ding talk error"}`, refused, "40089"),
				bad(`{"errcode":-1,"errmsg":"系统繁忙"}`, busy, "-1"),
				blocked,
			},
		},
		{
			Preset:     "dingtalk",
			Parameters: map[string]string{"app_key": "dingeqqpkv3xxxxxx", "app_secret": "GT-lsu-taDAxxxsTsxxxx"},
			Request: "POST https://api.dingtalk.com/v1.0/oauth2/accessToken\nContent-Type: application/json\n\n" +
				`{"appKey":"{app_key}","appSecret":"{app_secret}"}`,
			Answer:   `{"accessToken":"{token}","expireIn":{life}}`,
			Refused:  Reply{400, `{"code":"invalidClientIdOrSecret","message":"无效的clientId或者clientSecret","requestid":"30EE8654-1AA2-7D88-8248-9518547248AA"}`},
			Use:      "x-acs-dingtalk-access-token: {token}",
			Rejected: Reply{400, `{"code":"InvalidAuthentication","requestid":"30EE8654-1AA2-7D88-8248-9518547248AA","message":"不合法的access_token"}`},
			Knobs:    Knobs{Repeat: same, Life: 2 * time.Hour, Extends: true, Length: 32},
			Failures: []Failure{
				{Reply{400, `{"code":"invalidClientIdOrSecret","message":"无效的clientId或者clientSecret","requestid":"x"}`}, refused, "invalidClientIdOrSecret", 0},
				{Reply{500, `{"code":"unknownError","requestid":"x","message":"未知错误"}`}, unknown, "unknownError", 0},
			},
		},
		{
			Preset:  "dingtalk_jsapi_ticket",
			Request: "GET https://oapi.dingtalk.com/get_jsapi_ticket?access_token={parent_token}",
			Answer:  `{"errcode":0,"errmsg":"ok","ticket":"{token}","expires_in":{life}}`,
			Parent:  badToken,
			Knobs:   Knobs{Repeat: same, Life: 2 * time.Hour, FullLife: true},
			Failures: []Failure{
				{badToken, parent, "40014", 0},
				bad(`{"errcode":88,"sub_code":"40014","errmsg":"ding talk error"}`, parent, "40014"),
				bad(`{"errcode":42001,"errmsg":"access_token超时"}`, parent, "42001"),
				blocked,
			},
		},
	}
}

func douyin() []Wire {
	client := map[string]string{"client_key": "ttxxxxxx", "client_secret": "7802f4e6f243e659d51135445fe"}
	body := "\nContent-Type: application/json\n\n" + `{"client_key":"{client_key}","client_secret":"{client_secret}","grant_type":"client_credential"}`
	answer := `{"data":{"access_token":"{token}","description":"","error_code":0,"expires_in":{life}},"message":"success"}`
	failed := func(code, description string) string {
		return `{"data":{"captcha":"","desc_url":"","description":"` + description + `","error_code":` + code + `},"message":"error"}`
	}
	often := failed("10020", "接口调用过于频繁")
	codes := []Failure{
		bad(failed("10002", "参数错误"), refused, "10002"),
		bad(failed("10003", "配置无效"), refused, "10003"),
		bad(failed("10013", "client_key或者client_secret报错"), refused, "10013"),
		{Reply{200, often}, later, "10020", 5 * time.Minute},
	}
	limits := func(k Knobs) Knobs {
		k.Life, k.Prefix, k.Calls, k.Window, k.Limited = 2*time.Hour, "clt.", 500, 5*time.Minute, Reply{200, often}
		return k
	}
	return []Wire{
		{
			Preset: "douyin", Parameters: client,
			Request: "POST https://open.douyin.com/oauth/client_token/" + body,
			Answer:  answer, Refused: Reply{200, failed("10013", "client_key或者client_secret报错")},
			Knobs: limits(Knobs{Repeat: kills, Overlap: 5 * time.Minute, Latest: 2}), Failures: codes,
		},
		{
			Preset: "douyin_stable", Parameters: client,
			Request: "POST https://open.douyin.com/oauth/stable_client_token/" + body,
			Answer:  answer, Refused: Reply{200, failed("10013", "client_key或者client_secret报错")},
			Knobs: limits(Knobs{Repeat: same}), Failures: codes,
		},
		{
			Preset: "douyin_miniapp", Parameters: map[string]string{"appid": "tt411d37a0de37d565", "secret": "98e5d2b1a7c04f92"},
			Request: "POST https://developer.toutiao.com/api/apps/v2/token\nContent-Type: application/json\n\n" +
				`{"appid":"{appid}","secret":"{secret}","grant_type":"client_credential"}`,
			Answer:  `{"err_no":0,"err_tips":"success","data":{"access_token":"{token}","expires_in":{life}}}`,
			Refused: Reply{200, `{"err_no":40017,"err_tips":"bad secret","data":{"access_token":"","expires_in":0}}`},
			Knobs:   Knobs{Repeat: kills, Overlap: 5 * time.Minute, Life: 2 * time.Hour},
			Failures: []Failure{
				bad(`{"err_no":40015,"err_tips":"bad appid","data":{"access_token":"","expires_in":0}}`, refused, "40015"),
				bad(`{"err_no":40017,"err_tips":"bad secret","data":{"access_token":"","expires_in":0}}`, refused, "40017"),
				bad(`{"err_no":40020,"err_tips":"bad grant_type"}`, refused, "40020"),
				bad(`{"err_no":-1,"err_tips":"system error"}`, busy, "-1"),
			},
		},
	}
}

func tencent() []Wire {
	return []Wire{
		{
			Preset: "qq_miniprogram", Parameters: map[string]string{"appid": "1108164955", "secret": "sNhD0rfyRqHZ9GZp"},
			Request: "GET https://api.q.qq.com/api/getToken?grant_type=client_credential&appid={appid}&secret={secret}",
			Answer:  `{"access_token":"{token}","expires_in":{life}}`,
			Refused: Reply{200, `{"errcode":40001,"errmsg":"invalid secret"}`},
			Use:     "?access_token={token}", Rejected: Reply{200, `{"errcode":40001,"errmsg":"invalid access_token"}`},
			Knobs: Knobs{Repeat: kills, Overlap: 5 * time.Minute, Life: 2 * time.Hour},
			Failures: []Failure{
				bad(`{"errcode":40013,"errmsg":"invalid appid"}`, refused, "40013"),
				bad(`{"errcode":40001,"errmsg":"invalid secret"}`, refused, "40001"),
				bad(`{"errcode":40002,"errmsg":"invalid grant_type"}`, refused, "40002"),
				bad(`{"errcode":-1,"errmsg":"system error"}`, busy, "-1"),
			},
		},
		{
			Preset: "qq_bot", Parameters: map[string]string{"app_id": "102001234", "client_secret": "C1mZxQ5rS0bE7vKp"},
			Request: "POST https://bots.qq.com/app/getAppAccessToken\nContent-Type: application/json\n\n" +
				`{"appId":"{app_id}","clientSecret":"{client_secret}"}`,
			Answer:  `{"access_token":"{token}","expires_in":"{life}"}`,
			Refused: Reply{200, `{"code":100016,"message":"invalid appid or secret"}`},
			Use:     "Authorization: QQBot {token}", Rejected: Reply{401, `{"message":"token not exist or expire","code":11244}`},
			Knobs: Knobs{Repeat: same, Life: 2 * time.Hour, Rollover: time.Minute},
			Failures: []Failure{
				bad(`{"code":100016,"message":"invalid appid or secret"}`, refused, "100016"),
				bad(`{"code":100002,"message":"internal err"}`, busy, "100002"),
			},
		},
	}
}

func others() []Wire {
	return []Wire{
		{
			Preset: "baidu", Parameters: map[string]string{"client_id": "Va5yQRHlA4Fq5eR3LT0vuXV4", "client_secret": "0rDSjzQ20XUj5itV6WRtznPQSzr5pVw2"},
			Request: "POST https://aip.baidubce.com/oauth/2.0/token?grant_type=client_credentials&client_id={client_id}&client_secret={client_secret}",
			Answer: `{"refresh_token":"25.b55fe1d287227ca97aab219bb249b8ab.315360000","expires_in":{life},"scope":"public brain_all_scope",` +
				`"session_key":"9mzdDZXu3dENdFZQurfg0Vz8slgSgvvOAUebNFzyzcpQ5EnbxbF+hfG9","access_token":"{token}","session_secret":"x"}`,
			Refused: Reply{401, `{"error":"invalid_client","error_description":"Client authentication failed"}`},
			Use:     "?access_token={token}", Rejected: Reply{200, `{"error_code":110,"error_msg":"Access token invalid or no longer valid"}`},
			Knobs: Knobs{Repeat: keeps, Life: 720 * time.Hour, Prefix: "24."},
			Failures: []Failure{
				{Reply{401, `{"error":"invalid_client","error_description":"unknown client id"}`}, refused, "invalid_client", 0},
				{Reply{503, `{"error":"temporarily_unavailable"}`}, unknown, "temporarily_unavailable", 0},
			},
		},
		{
			Preset: "esign", Parameters: map[string]string{"app_id": "1111563841", "secret": "753b9f6acafcbba300315838be3374c1", "host": "openapi.esign.cn"},
			Request:  "GET https://openapi.esign.cn/v1/oauth2/access_token?appId={app_id}&secret={secret}&grantType=client_credentials",
			Answer:   `{"code":0,"message":"成功","data":{"expiresIn":"{ends_ms}","token":"{token}","refreshToken":"64924e629bc5923172dec8fca019fba9"}}`,
			Refused:  Reply{200, `{"code":401,"message":"UNAUTHORIZED"}`},
			Knobs:    Knobs{Repeat: kills, Overlap: 5 * time.Minute, Latest: 2, Life: 2 * time.Hour},
			Failures: []Failure{bad(`{"code":401,"message":"UNAUTHORIZED"}`, refused, "401")},
		},
		{
			Preset: "kuaishou", Parameters: map[string]string{"app_id": "ks707065143182458884", "app_secret": "9VfzaT-7Jf1bBHv-veFZfg"},
			Request: "POST https://open.kuaishou.com/oauth2/access_token\nContent-Type: application/x-www-form-urlencoded\n\n" +
				"app_id={app_id}&app_secret={app_secret}&grant_type=client_credentials",
			Answer:  `{"result":1,"access_token":"{token}","expires_in":{life},"token_type":"bearer"}`,
			Refused: Reply{200, `{"result":100200101,"error_msg":"invalid app_id or app_secret"}`},
			Knobs:   Knobs{Repeat: keeps, Life: 48 * time.Hour},
			Failures: []Failure{
				bad(`{"result":100200100,"error_msg":"bad parameter"}`, refused, "100200100"),
				bad(`{"result":100200101,"error_msg":"invalid app_id or app_secret"}`, refused, "100200101"),
			},
		},
	}
}
