package sdktest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/silenceper/wechat/v2"
	"github.com/silenceper/wechat/v2/cache"
	"github.com/silenceper/wechat/v2/credential"
	miniconfig "github.com/silenceper/wechat/v2/miniprogram/config"
	"github.com/silenceper/wechat/v2/officialaccount/config"
	"github.com/silenceper/wechat/v2/util"
)

// goDriver is the variable that makes the test's program the driver for Go.
const goDriver = "SDKTEST_DRIVER"

// client is an SDK with its user.
type client interface {
	Token() error
	Call() error
	Login(code string) error
}

// drive is the driver for Go.
func drive(in io.Reader, out io.Writer) {
	clients := map[string]client{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return
		}
		answer := reply{ID: r.ID}
		var err error
		switch r.Op {
		case "family":
			answer.Values, err = silenceperFamily(r)
		case "open":
			clients[r.Session] = open(r)
		case "token":
			err = clients[r.Session].Token()
		case "call":
			err = clients[r.Session].Call()
		case "login":
			err = clients[r.Session].Login(r.Code)
		}
		if err != nil {
			answer.Error = err.Error()
		}
		line, _ := json.Marshal(answer) // cannot fail
		fmt.Fprintf(out, "%s\n", line)
	}
}

func open(r request) client {
	switch {
	case r.Wire != nil:
		return &shape{request: r}
	case strings.HasPrefix(r.SDK, "example"):
		return openExample(r)
	}
	return openSilenceper(r)
}

// silenceperSDK is github.com/silenceper/wechat. Its settings for HTTP are the process's.
type silenceperSDK struct {
	wc      *wechat.Wechat
	request request
	cache   cache.Cache
	handle  credential.AccessTokenHandle
}

func openSilenceper(r request) client {
	util.SetURIModifier(func(uri string) string {
		return strings.Replace(uri, "https://api.weixin.qq.com", r.Base, 1)
	})
	s := &silenceperSDK{wc: wechat.NewWechat(), request: r, cache: cache.NewMemory()}
	if strings.HasSuffix(r.SDK, "stable_token") {
		s.handle = credential.NewStableAccessToken(r.AppID, r.Secret, "zk", s.cache)
	} else {
		s.handle = credential.NewDefaultAccessToken(r.AppID, r.Secret, "zk", s.cache)
	}
	return s
}

func (s *silenceperSDK) Token() error {
	_, err := s.handle.GetAccessToken()
	return err
}

func (s *silenceperSDK) Call() error {
	a := s.wc.GetOfficialAccount(&config.Config{AppID: s.request.AppID, AppSecret: s.request.Secret, Token: "x", Cache: s.cache})
	a.SetAccessTokenHandle(s.handle)
	_, err := a.GetBasic().GetCallbackIP()
	return err
}

func (s *silenceperSDK) Login(code string) error {
	m := s.wc.GetMiniProgram(&miniconfig.Config{AppID: s.request.AppID, AppSecret: s.request.Secret, Cache: s.cache})
	if _, err := m.GetAuth().Code2Session(code); err != nil {
		return err
	}
	a := s.wc.GetOfficialAccount(&config.Config{AppID: s.request.AppID, AppSecret: s.request.Secret, Token: "x", Cache: s.cache})
	_, err := a.GetOauth().GetUserAccessToken(code)
	return err
}

// shape sends what an SDK sends that is not here.
type shape struct {
	request request
	kept    string
	until   time.Time
}

// rejections are the errcodes at which an SDK asks for a token again.
var rejections = []int{40001, 40014, 42001}

type wechatAnswer struct {
	Code        int    `json:"errcode"`
	Message     string `json:"errmsg"`
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
}

func (a wechatAnswer) err() error {
	if a.Code != 0 {
		return fmt.Errorf("%d %s", a.Code, a.Message)
	}
	return nil
}

func (s *shape) send(method, path, contentType, body string) (a wechatAnswer, err error) {
	r, err := http.NewRequest(method, s.request.Base+path, strings.NewReader(body))
	if err != nil {
		return a, err
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return a, errors.Unwrap(err) // the URL has the key
	}
	defer resp.Body.Close()
	return a, json.NewDecoder(resp.Body).Decode(&a)
}

func (s *shape) fetch() error {
	w := s.request.Wire
	secret := s.request.Secret
	if w.Escape {
		secret = url.QueryEscape(secret)
	}
	method, path, body := http.MethodGet, "/cgi-bin/token?"+strings.NewReplacer("{appid}", s.request.AppID, "{secret}", secret).Replace(w.Query), ""
	if w.Stable != "" {
		fields, _ := json.Marshal(map[string]any{ // cannot fail
			"grant_type": "client_credential", "appid": s.request.AppID, "secret": s.request.Secret, "force_refresh": false,
		})
		method, path, body = http.MethodPost, "/cgi-bin/stable_token", string(fields)
	}
	a, err := s.send(method, path, w.Stable, body)
	if err == nil {
		err = a.err()
	}
	if err != nil {
		return err
	}
	s.kept, s.until = a.AccessToken, time.Now().Add(time.Duration(a.ExpiresIn-w.Margin)*time.Second)
	return nil
}

func (s *shape) Token() error {
	if s.kept != "" && time.Now().Before(s.until) {
		return nil
	}
	return s.fetch()
}

func (s *shape) Call() error {
	for repeated := 0; ; repeated++ {
		if err := s.Token(); err != nil {
			return err
		}
		a, err := s.send(http.MethodGet, "/cgi-bin/getcallbackip?access_token="+s.kept, "", "")
		if err != nil {
			return err
		}
		if !slices.Contains(rejections, a.Code) || repeated == s.request.Wire.Retries {
			return a.err()
		}
		if err := s.fetch(); err != nil {
			return err
		}
	}
}

func (s *shape) Login(code string) error {
	query := url.Values{"appid": {s.request.AppID}, "secret": {s.request.Secret}, "js_code": {code}, "grant_type": {"authorization_code"}}
	a, err := s.send(http.MethodGet, "/sns/jscode2session?"+query.Encode(), "", "")
	if err != nil {
		return err
	}
	return a.err()
}
