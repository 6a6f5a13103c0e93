package coordinatortest_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
)

func TestMemStoreKeepsTheContract(t *testing.T) {
	store := coordinatortest.NewMemStore()
	var n atomic.Int32
	coordinatortest.TestStore(t, func(*testing.T) coordinator.Store {
		return store.Instance(fmt.Sprintf("process-%d", n.Add(1)))
	})
}
