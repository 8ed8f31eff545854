// Package packages tests the Debian packages as files: what they hold, what their
// scripts do, and that Debian's own judges find nothing. What only an installed
// machine shows is tested elsewhere. They need Debian's programs: make test-system. `make deb` builds them, once for all tests.
package packages
