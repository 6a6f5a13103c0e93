package wecomtest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Errcodes that the server answers without a fault.
const (
	codeBadCredential    = 40001
	codeBadCorpID        = 40013
	codeBadToken         = 40014
	codeBadLength        = 40058
	codeBadAuthCode      = 40078
	codeBadSuiteSecret   = 40080
	codeBadProvider      = 40082
	codeBadSuiteID       = 40083
	codeBadPermanentCode = 40084
	codeBadSuiteTicket   = 40085
	codeOtherCorp        = 40091
	codeBadTicketURL     = 40093
	codeNoToken          = 41001
	codeNoCorpID         = 41002
	codeNoSecret         = 41004
	codeNoSuiteID        = 41021
	codeNoSuiteToken     = 41022
	codeNoSuiteTicket    = 41023
	codeNoSuiteSecret    = 41024
	codeNoPermanentCode  = 41025
	codeExpired          = 42001
	codePreAuthExpired   = 42007
	codeSuiteExpired     = 42009
	codeTooOften         = 45009
	codeBadData          = 47001
	codeForbidden        = 48002
	codeDisabled         = 50003
	codeUntrusted        = 60020
	codeOtherApp         = 301002
)

// words are the errmsgs without their suffix.
var words = map[int]string{
	codeBadCredential:    "invalid credential",
	codeBadCorpID:        "invalid corpid",
	codeBadToken:         "invalid access_token",
	codeBadLength:        "invalid parameter size",
	codeBadAuthCode:      "invalid tmp_auth_code",
	codeBadSuiteSecret:   "invalid suite_secret",
	codeBadProvider:      "invalid suite_acccess_token or provider_access_token", // sic
	codeBadSuiteID:       "invalid suite_id",
	codeBadPermanentCode: "invalid permanent_code",
	codeBadSuiteTicket:   "invalid suite_ticket",
	codeOtherCorp:        "invalid corpsecret",
	codeNoToken:          "access_token missing",
	codeNoCorpID:         "corpid missing",
	codeNoSecret:         "corpsecret missing",
	codeNoSuiteID:        "suite_id missing",
	codeNoSuiteToken:     "suite_access_token missing",
	codeNoSuiteTicket:    "suite_ticket missing",
	codeNoSuiteSecret:    "suite_secret missing",
	codeNoPermanentCode:  "permanent_code missing",
	codeExpired:          "access_token expired",
	codeSuiteExpired:     "suite_access_token or provider_access_token expired",
	codeTooOften:         "api freq out of limit",
	codeBadData:          "data format error",
	codeForbidden:        "api forbidden",
	codeDisabled:         "app disabled",
	codeUntrusted:        "not allow to access from your ip",
	codeOtherApp:         "not allow operate another agent with this accesstoken",
}

// reply is what the server answers.
type reply struct {
	status int
	body   []byte
	code   int
}

// refuse returns an errcode with WeCom's errmsg and, as WeCom does, with the members
// that a good answer has, empty.
func (s *Server) refuse(r *request, code int, empty ...string) reply {
	return s.refuseWith(r, code, cmp.Or(words[code], "error"), empty...)
}

func (s *Server) refuseWith(r *request, code int, words string, empty ...string) reply {
	hint := fmt.Sprintf("%d%015d", s.now().Unix(), s.random.Int64N(1e15))
	members := map[string]any{
		"errcode": code,
		"errmsg": fmt.Sprintf("%s, hint: [%s], from ip: %s, more info at https://open.work.weixin.qq.com/devtool/query?e=%d",
			words, hint, r.from, code),
	}
	for _, name := range empty {
		members[name] = ""
	}
	out := object(members)
	out.code = code
	return out
}

// tooOften is 45009. w is the window that is used up.
func (s *Server) tooOften(r *request, w window) reply {
	if s.knobs.TextNamesWindow {
		return s.refuseWith(r, codeTooOften, words[codeTooOften]+" per "+string(w))
	}
	return s.refuse(r, codeTooOften)
}

// object returns a JSON object with status 200.
func object(members map[string]any) reply {
	body, err := json.Marshal(members)
	if err != nil {
		panic(fmt.Sprintf("wecomtest: %v", err)) // never happens: the members are the package's own
	}
	return reply{status: http.StatusOK, body: body}
}

// success returns members with errcode 0.
func success(members map[string]any) reply {
	members["errcode"], members["errmsg"] = 0, "ok"
	return object(members)
}

// give returns a value under this name.
func (s *Server) give(name string, i *Issue) map[string]any {
	life := i.ExpiresAt.Sub(i.IssuedAt)
	if !s.knobs.AlwaysWhole {
		life = i.ExpiresAt.Sub(s.now())
	}
	return map[string]any{name: i.Value, "expires_in": int(life.Round(time.Second).Seconds())}
}

func (out reply) write(w http.ResponseWriter, date string) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.Header().Set("Date", date)
	w.Header().Set("Content-Length", strconv.Itoa(len(out.body)))
	w.WriteHeader(out.status)
	_, _ = w.Write(out.body) // an error means that the client has gone away
}
