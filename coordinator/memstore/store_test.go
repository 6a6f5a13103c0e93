package memstore_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/zhongkong/zhongkong/coordinator"
	"github.com/zhongkong/zhongkong/coordinator/coordinatortest"
	"github.com/zhongkong/zhongkong/coordinator/memstore"
)

func TestStoreKeepsToTheContract(t *testing.T) {
	store := memstore.New()
	var n atomic.Int32
	coordinatortest.TestStore(t, func(*testing.T) coordinator.Store {
		return store.Instance(fmt.Sprintf("process-%d", n.Add(1)))
	})
}
