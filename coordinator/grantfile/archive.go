package grantfile

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/zhongkong/zhongkong/coordinator"
)

// Record is what an archive has of one account.
type Record struct {
	Account  string
	Grant    coordinator.Grant // the zero Grant: the account has none, only members
	MemberOf []string          // the accounts on whose grants it lives
}

const (
	archiveHeader = "zhongkong grants 1" // the first line, in plain text

	// The second line is the manifest, sealed under a name that no account has.
	manifestName = "*"

	maxArchiveLine = 1 << 20
)

type manifestJSON struct {
	Records int    `json:"records"`
	Digest  string `json:"digest"` // of the lines of the records, so that none is missing or of another archive
}

type recordJSON struct {
	Account  string          `json:"account"`
	Grant    json.RawMessage `json:"grant,omitempty"`
	MemberOf []string        `json:"member_of,omitempty"`
}

// WriteArchive writes records as text: a line for each, sealed. It is whole or ReadArchive
// refuses it.
func WriteArchive(w io.Writer, s Sealer, records []Record) error {
	var lines bytes.Buffer
	for _, r := range records {
		j := recordJSON{Account: r.Account, MemberOf: r.MemberOf}
		if r.Grant.Version > 0 {
			j.Grant = coordinator.EncodeGrant(r.Grant)
		}
		plain, err := json.Marshal(j)
		if err != nil {
			return fmt.Errorf("grantfile: archive the grant of %q: %w", r.Account, err)
		}
		sealed, err := s.Seal(r.Account, plain)
		if err != nil {
			return fmt.Errorf("grantfile: archive the grant of %q: %w", r.Account, err)
		}
		fmt.Fprintf(&lines, "%s %s\n", r.Account, sealed)
	}
	manifest, err := json.Marshal(manifestJSON{Records: len(records), Digest: digest(lines.Bytes())})
	if err != nil {
		return fmt.Errorf("grantfile: %w", err)
	}
	sealed, err := s.Seal(manifestName, manifest)
	if err != nil {
		return fmt.Errorf("grantfile: archive: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s\n%s\n%s", archiveHeader, sealed, lines.Bytes())
	return err
}

// ReadArchive returns the records of an archive. It returns none unless it can open all
// of them and the archive is whole.
func ReadArchive(r io.Reader, s Sealer) ([]Record, error) {
	in := bufio.NewScanner(r)
	in.Buffer(nil, maxArchiveLine)
	ended := false // the line has an end
	in.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		ended = bytes.IndexByte(data, '\n') >= 0
		return bufio.ScanLines(data, atEOF)
	})
	unlessCut := func(err error) error {
		if ended {
			return err
		}
		return errors.New("the archive ends within it: it was cut off: copy it again")
	}
	if !in.Scan() || in.Text() != archiveHeader {
		return nil, fmt.Errorf("grantfile: the input is not an archive of grants: its first line is not %q", archiveHeader)
	}
	in.Scan()
	plain, err := s.Open(manifestName, in.Text())
	if err != nil {
		return nil, fmt.Errorf("grantfile: the archive's manifest (line 2): %w", unlessCut(err))
	}
	var manifest manifestJSON
	if err := json.Unmarshal(plain, &manifest); err != nil {
		return nil, fmt.Errorf("grantfile: the archive's manifest (line 2): %w", unlessCut(errors.New("it opens, but is not one that this version reads")))
	}
	var records []Record
	var lines bytes.Buffer
	for n := 3; in.Scan(); n++ {
		record, err := openRecord(in.Text(), s)
		if err != nil {
			return nil, fmt.Errorf("grantfile: line %d of the archive: %w", n, unlessCut(err))
		}
		records = append(records, record)
		lines.WriteString(in.Text() + "\n")
	}
	switch {
	case in.Err() != nil:
		return nil, fmt.Errorf("grantfile: read the archive: %w", in.Err())
	case len(records) != manifest.Records:
		return nil, fmt.Errorf("grantfile: the archive has %d records instead of %d: it was cut off or changed", len(records), manifest.Records)
	case digest(lines.Bytes()) != manifest.Digest:
		return nil, errors.New("grantfile: records of the archive are those of another one")
	}
	return records, nil
}

func openRecord(line string, s Sealer) (Record, error) {
	account, sealed, _ := strings.Cut(line, " ")
	if err := coordinator.ValidateName(account); err != nil {
		return Record{}, errors.New("it does not begin with the name of an account")
	}
	plain, err := s.Open(account, sealed)
	if err != nil {
		return Record{}, err
	}
	var j recordJSON
	if err := json.Unmarshal(plain, &j); err != nil || j.Account != account || slices.ContainsFunc(j.MemberOf, isNoName) {
		return Record{}, errors.New("it opens, but is not a record that this version reads")
	}
	r := Record{Account: account, MemberOf: j.MemberOf}
	if j.Grant != nil {
		if r.Grant, err = coordinator.DecodeGrant(j.Grant); err != nil {
			return Record{}, err
		}
	}
	return r, nil
}

func isNoName(account string) bool { return coordinator.ValidateName(account) != nil }

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
