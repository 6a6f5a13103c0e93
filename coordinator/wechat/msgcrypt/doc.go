// Package msgcrypt reads and writes the encrypted messages that WeChat and WeCom push to
// a URL (WXBizMsgCrypt): the events of third-party platforms and of suites, the messages
// of official accounts and of WeCom apps.
//
//	codec, err := msgcrypt.Config{
//		Token:          token,          // of the URL's settings in the console
//		EncodingAESKey: key,            // the same
//		PreviousKey:    former,         // the one before, if it was changed
//		Receivers:      []string{appID}, // whose messages these are
//	}.Codec()
//
//	push, envelope, err := msgcrypt.ParsePush(request.URL.Query(), body)
//	message, err := codec.Open(push)          // verifies, then decrypts
//	fields, err := msgcrypt.ParseXML(message.Body)
//
// # What is proved
//
// Open proves that a holder of the Token and of an EncodingAESKey wrote the message, and
// that it is for one of the receivers, which OpenEcho leaves out. It does not prove that
// the message is new: a copy of a push is as valid as the push, and WeChat itself repeats
// and reorders pushes. A receiver orders them by the time within the message and does the
// same thing twice without harm.
//
// The parameter msg_signature is what is verified. The parameter signature covers the
// time and the nonce only, and is ignored.
//
// # Keys
//
// After a change of the EncodingAESKey in the console, messages encrypted with the
// previous key still arrive for a while, and a message that no key opens is lost. Both
// keys are tried.
package msgcrypt
