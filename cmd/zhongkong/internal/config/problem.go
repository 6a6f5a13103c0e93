package config

import (
	"errors"
	"fmt"
)

// problems collects what is wrong, so that all of it is reported at once.
type problems struct {
	list []error
	seen map[string]bool
}

func (p *problems) addf(format string, args ...any) { p.add(fmt.Errorf(format, args...)) }

func (p *problems) add(err error) {
	if p.seen[err.Error()] {
		return
	}
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	p.seen[err.Error()] = true
	p.list = append(p.list, err)
}

func (p *problems) count() int { return len(p.list) }

func (p *problems) err() error { return errors.Join(p.list...) }
