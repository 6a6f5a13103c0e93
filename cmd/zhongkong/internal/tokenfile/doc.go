// Package tokenfile keeps files whose content is the current token of an account, for
// programs that read their credentials from a file.
//
// A file is replaced by a rename in its directory, so a reader sees the whole content of
// one token or of the next, even if this process is killed at any moment. Beside the
// file there are
//
//   - PATH.expiry: when the token in the file ends (RFC 3339, UTC, and a newline);
//   - .NAME.zhongkong-XXX (26 characters): a file that is being written; those that a
//     killed process has left are removed at the next start;
//   - .NAME.zhongkong-notify: the command has not been told yet of the last change.
//
// PATH.expiry never says more than is true of the token in PATH: it is written after a
// token that ends later, and removed before a token that ends earlier. So a reader that
// finds the same text in PATH.expiry before and after it has read PATH knows that the
// token does not end before that time.
//
// The content follows from the record alone, so a start with the token that the file has
// already changes nothing and runs no command.
//
// The file of an account whose token has ended stays as it is: a reader of PATH.expiry
// sees that, and the issuer refuses such a token, which is easier to understand than a
// file that is missing.
package tokenfile
