package argon2

import (
	"bytes"
	"fmt"
	"testing"

	"golang.org/x/crypto/argon2"
)

func TestHashesAreThoseOfTheReference(t *testing.T) {
	var m Memory
	defer m.Release()
	for _, p := range []Params{
		{8, 1, 1}, {8, 3, 1}, {15, 1, 1}, {64, 2, 1}, {1000, 2, 1}, {4096, 2, 1}, {16, 2, 2}, {100, 3, 3}, {2048, 2, 4}, {9, 1, 1}, {128, 1, 16},
	} {
		for _, size := range []uint32{4, 32, 64, 65, 100} {
			for _, password := range []string{"", "open sesame", string(make([]byte, 1024))} {
				name := fmt.Sprintf("%+v of %d bytes to %d", p, len(password), size)
				got := m.IDKey([]byte(password), []byte("0123456789abcdef"), p, size)
				want := argon2.IDKey([]byte(password), []byte("0123456789abcdef"), p.Passes, p.KiB, p.Lanes, size)
				if !bytes.Equal(got, want) {
					t.Errorf("%s: %x, want %x", name, got, want)
				}
			}
		}
	}
}

func TestTheMemoryIsUsedAgain(t *testing.T) {
	var m Memory
	defer m.Release()
	large, small := Params{1024, 1, 1}, Params{64, 1, 1}
	m.IDKey(nil, make([]byte, 8), large, 32)
	first := &m.blocks[0]
	for _, p := range []Params{small, large, small} {
		m.IDKey(nil, make([]byte, 8), p, 32)
		if &m.blocks[0] != first || len(m.blocks) != 1024 {
			t.Fatal("other memory was taken")
		}
	}
	if allocated := testing.AllocsPerRun(10, func() { m.IDKey(nil, make([]byte, 8), large, 32) }); allocated > 100 {
		t.Errorf("a hash allocates %v times", allocated)
	}
	m.Release()
	m.Release()
	if m.blocks != nil {
		t.Error("the memory was not released")
	}
}

// BenchmarkIDKey shows what a login costs, in comparison with the reference.
func BenchmarkIDKey(b *testing.B) {
	salt := make([]byte, 16)
	b.Run("kept memory", func(b *testing.B) {
		var m Memory
		defer m.Release()
		b.ReportAllocs()
		for b.Loop() {
			m.IDKey([]byte("open sesame"), salt, Params{64 << 10, 2, 1}, 32)
		}
	})
	b.Run("x/crypto", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			argon2.IDKey([]byte("open sesame"), salt, 2, 64<<10, 1, 32)
		}
	})
}
