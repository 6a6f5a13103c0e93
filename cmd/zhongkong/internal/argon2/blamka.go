package argon2

import "math/bits"

// compress is the function G of RFC 9106, section 3.5: it writes the mixture of two
// blocks to out, or XORs it into out.
func compress(out, x, y *block, xor bool) {
	var r block
	for i := range r {
		r[i] = x[i] ^ y[i]
	}
	z := r
	for i := 0; i < len(z); i += 16 { // rows
		permute(&z[i], &z[i+1], &z[i+2], &z[i+3], &z[i+4], &z[i+5], &z[i+6], &z[i+7], //nolint:gosec // its check does not see the step of the loop
			&z[i+8], &z[i+9], &z[i+10], &z[i+11], &z[i+12], &z[i+13], &z[i+14], &z[i+15]) //nolint:gosec // likewise
	}
	for i := 0; i < 16; i += 2 { // columns
		permute(&z[i], &z[i+1], &z[i+16], &z[i+17], &z[i+32], &z[i+33], &z[i+48], &z[i+49],
			&z[i+64], &z[i+65], &z[i+80], &z[i+81], &z[i+96], &z[i+97], &z[i+112], &z[i+113]) //nolint:gosec // likewise
	}
	if xor {
		for i := range out {
			out[i] ^= r[i] ^ z[i]
		}
		return
	}
	for i := range out {
		out[i] = r[i] ^ z[i]
	}
}

// permute is the permutation P: BLAKE2b's round with multiplications.
func permute(p0, p1, p2, p3, p4, p5, p6, p7, p8, p9, p10, p11, p12, p13, p14, p15 *uint64) {
	v0, v1, v2, v3, v4, v5, v6, v7 := *p0, *p1, *p2, *p3, *p4, *p5, *p6, *p7
	v8, v9, v10, v11, v12, v13, v14, v15 := *p8, *p9, *p10, *p11, *p12, *p13, *p14, *p15

	v0, v4, v8, v12 = quarter(v0, v4, v8, v12)
	v1, v5, v9, v13 = quarter(v1, v5, v9, v13)
	v2, v6, v10, v14 = quarter(v2, v6, v10, v14)
	v3, v7, v11, v15 = quarter(v3, v7, v11, v15)

	v0, v5, v10, v15 = quarter(v0, v5, v10, v15)
	v1, v6, v11, v12 = quarter(v1, v6, v11, v12)
	v2, v7, v8, v13 = quarter(v2, v7, v8, v13)
	v3, v4, v9, v14 = quarter(v3, v4, v9, v14)

	*p0, *p1, *p2, *p3, *p4, *p5, *p6, *p7 = v0, v1, v2, v3, v4, v5, v6, v7
	*p8, *p9, *p10, *p11, *p12, *p13, *p14, *p15 = v8, v9, v10, v11, v12, v13, v14, v15
}

func quarter(a, b, c, d uint64) (_, _, _, _ uint64) {
	a = mix(a, b)
	d = bits.RotateLeft64(d^a, -32)
	c = mix(c, d)
	b = bits.RotateLeft64(b^c, -24)
	a = mix(a, b)
	d = bits.RotateLeft64(d^a, -16)
	c = mix(c, d)
	b = bits.RotateLeft64(b^c, -63)
	return a, b, c, d
}

func mix(a, b uint64) uint64 { return a + b + 2*uint64(uint32(a))*uint64(uint32(b)) }
