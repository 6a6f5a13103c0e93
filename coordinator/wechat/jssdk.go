package wechat

import (
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // WeChat's algorithm
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/zhongkong/zhongkong/coordinator"
)

// JSSDKSignature returns the signature that wx.config checks. page is the page's URL as
// the browser shows it, without "#" and what follows; it is signed as it is, without
// any encoding. timestamp is in seconds since 1970. WeCom's wx.config and
// wx.agentConfig use the same algorithm.
func JSSDKSignature(ticket coordinator.Token, nonce string, timestamp int64, page string) string {
	return sha1Hex("jsapi_ticket=" + ticket.Reveal() + "&noncestr=" + nonce +
		"&timestamp=" + strconv.FormatInt(timestamp, 10) + "&url=" + page)
}

// CardSignature returns the signature of a card's parameters (cardExt, wx.chooseCard).
// values are those of the parameters that are sent, in any order: timestamp, nonce_str,
// card_id, and code, openid, app_id, card_type or location_id where they are used.
// ticket is the wx_card ticket.
func CardSignature(ticket coordinator.Token, values ...string) string {
	signed := append([]string{ticket.Reveal()}, values...)
	slices.Sort(signed)
	return sha1Hex(strings.Join(signed, ""))
}

func sha1Hex(s string) string {
	sum := sha1.Sum([]byte(s)) //nolint:gosec // WeChat's algorithm
	return hex.EncodeToString(sum[:])
}

// SignedPage is what a page passes to wx.config, besides debug and jsApiList.
type SignedPage struct {
	AppID     string `json:"appId"`
	Timestamp int64  `json:"timestamp"` // in seconds since 1970
	NonceStr  string `json:"nonceStr"`
	Signature string `json:"signature"`
}

// Sign signs a page for wx.config with a random nonce. page is the page's location.href;
// "#" and what follows is cut off. appID is the account whose ticket it is. Sign refuses
// a page that is not on one of the hosts (ErrForeignPage), or whose URL no browser would
// show. Only the signature may go to a browser, never the ticket.
func (p Pages) Sign(appID string, ticket coordinator.Token, page string) (SignedPage, error) {
	page, err := p.check(page)
	switch {
	case err != nil:
		return SignedPage{}, err
	case ticket.IsZero():
		return SignedPage{}, errors.New("wechat: there is no ticket to sign with")
	}
	signed := SignedPage{AppID: appID, Timestamp: time.Now().Unix(), NonceStr: rand.Text()}
	signed.Signature = JSSDKSignature(ticket, signed.NonceStr, signed.Timestamp, page)
	return signed, nil
}
