package wechattest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

func (s *Server) controlAddComponent(_ *http.Request, q struct {
	AppID       string   `json:"appid"`
	Secret      string   `json:"secret"`
	Whitelist   []string `json:"whitelist"`
	Token       string   `json:"token"`
	Key         string   `json:"encoding_aes_key"`
	PreviousKey string   `json:"previous_encoding_aes_key"`
	URL         string   `json:"url"`
	Stopped     bool     `json:"stopped"`
}) (any, error) {
	return nil, s.AddComponent(Component{
		AppID: q.AppID, Secret: q.Secret, Whitelist: q.Whitelist,
		Token: q.Token, EncodingAESKey: q.Key, PreviousKey: q.PreviousKey, URL: q.URL, Stopped: q.Stopped,
	})
}

// controlChangeComponent changes the settings of a component that the request names. An
// invalid whitelist or key changes nothing.
func (s *Server) controlChangeComponent(req *http.Request, q struct {
	URL       *string         `json:"url"`
	Key       string          `json:"encoding_aes_key"`
	Stopped   *bool           `json:"stopped"`
	Whitelist json.RawMessage `json:"whitelist"` // null turns it off
}) (any, error) {
	id := req.PathValue("appid")
	if q.Whitelist != nil {
		var list []string
		if err := json.Unmarshal(q.Whitelist, &list); err != nil {
			return nil, fmt.Errorf("the whitelist: %w", err)
		}
		if err := s.SetWhitelist(id, list); err != nil {
			return nil, err
		}
	}
	return nil, s.changeComponent(id, func(c *component, now time.Time) error {
		if q.Key != "" {
			if err := c.setKeys(q.Key, c.EncodingAESKey); err != nil {
				return err
			}
		}
		if q.URL != nil {
			c.URL, c.Handler = *q.URL, nil
		}
		if q.Stopped != nil {
			c.Stopped, c.nextTicket = *q.Stopped, now
			s.wakePushes()
		}
		return nil
	})
}

type controlAuthorizer struct {
	AppID      string `json:"appid"`
	Authorized bool   `json:"authorized"`
	At         stamp  `json:"authorized_at"`
	Queried    bool   `json:"queried"`
	Live       []int  `json:"live"` // the numbers of its valid tokens
}

func (s *Server) controlAuthorizers(req *http.Request) (any, error) {
	out := []controlAuthorizer{}
	for _, a := range s.Authorizers(req.PathValue("appid")) {
		shown := controlAuthorizer{a.AppID, a.Authorized, stamp(a.At), a.Queried, []int{}}
		for _, i := range a.Live {
			shown.Live = append(shown.Live, i.Seq)
		}
		out = append(out, shown)
	}
	return out, nil
}

// named is a body that names an account.
type named struct {
	AppID string `json:"appid"`
}

func (s *Server) controlAuthorize(req *http.Request, q named) (any, error) {
	return s.Authorize(req.PathValue("appid"), q.AppID)
}

func (s *Server) controlUnauthorize(req *http.Request, q named) (any, error) {
	return nil, s.Unauthorize(req.PathValue("appid"), q.AppID)
}

func (s *Server) controlPushTicket(req *http.Request) (any, error) {
	return nil, s.PushTicket(req.PathValue("appid"))
}

type controlPush struct {
	Push
	Created  stamp `json:"created"`
	Answered stamp `json:"answered"`
}

func (p Push) public() controlPush { return controlPush{p, stamp(p.Created), stamp(p.Answered)} }

type controlPushFault struct {
	ID     int `json:"id"`
	Struck int `json:"struck"`
	PushFault
}

func (s *Server) controlPushFaults(*http.Request) (any, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]controlPushFault, len(s.pushFaults))
	for i, f := range s.pushFaults {
		out[i] = controlPushFault{f.id, f.struck, f.PushFault}
	}
	return out, nil
}

func (s *Server) controlInjectPush(_ *http.Request, f PushFault) (any, error) {
	id, err := s.InjectPush(f)
	return map[string]int{"id": id}, err
}

func (s *Server) controlClearPush(*http.Request) (any, error) { s.ClearPush(); return nil, nil }
