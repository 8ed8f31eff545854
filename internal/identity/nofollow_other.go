//go:build !unix

package identity

// noFollow is nothing where raidctl runs and no daemon does, which alone keep keys.
const noFollow = 0
