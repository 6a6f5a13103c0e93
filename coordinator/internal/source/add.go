package source

import "github.com/zhongkong/zhongkong/coordinator"

// AddTo returns what adds an account to c, or gives the one that is there the source.
func AddTo(c *coordinator.Coordinator) func(name string, s coordinator.Source, parent string) (*coordinator.Account, error) {
	return func(name string, s coordinator.Source, parent string) (*coordinator.Account, error) {
		config := coordinator.AccountConfig{Name: name, Source: s, Parent: parent}
		if a, ok := c.Account(name); ok {
			return a, a.Configure(config)
		}
		return c.Add(config)
	}
}
