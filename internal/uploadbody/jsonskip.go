package uploadbody

import "github.com/raidpi/raidpi/internal/httpserver"

// skip reads a value that nobody asked for, checking its grammar.
func (s *scanner) skip(depth int) error {
	c, err := s.token()
	if err != nil {
		return err
	}
	if depth > maxDepth {
		return httpserver.BadRequest("the body nests values more than %d deep", maxDepth)
	}
	switch {
	case c == '"':
		_, _, err = s.text(nil, 0)
		return err
	case c == '{':
		return s.skipMembers(depth)
	case c == '[':
		return s.skipElements(depth)
	case c == 't':
		return s.literal("rue")
	case c == 'f':
		return s.literal("alse")
	case c == 'n':
		return s.literal("ull")
	case c == '-' || c >= '0' && c <= '9':
		return s.number(c)
	}
	return s.unexpected(c, "a value")
}

func (s *scanner) skipMembers(depth int) error {
	for first := true; ; first = false {
		more, err := s.member(first)
		if err != nil || !more {
			return err
		}
		if _, _, err := s.text(nil, 0); err != nil {
			return err
		}
		if err := s.expect(':', "a colon"); err != nil {
			return err
		}
		if err := s.skip(depth + 1); err != nil {
			return err
		}
	}
}

// member reads up to behind the opening quote of an object's next name; more is
// false when the object has ended instead.
func (s *scanner) member(first bool) (more bool, err error) {
	c, err := s.token()
	if err != nil || c == '}' {
		return false, err
	}
	if !first {
		if c != ',' {
			return false, s.unexpected(c, "a comma or a closing brace")
		}
		if c, err = s.token(); err != nil {
			return false, err
		}
	}
	if c != '"' {
		return false, s.unexpected(c, "a name in quotes")
	}
	return true, nil
}

func (s *scanner) skipElements(depth int) error {
	c, err := s.token()
	if err != nil {
		return err
	}
	if c == ']' {
		return nil
	}
	s.r-- // token took it from the window, so it is still there
	for {
		if err := s.skip(depth + 1); err != nil {
			return err
		}
		if c, err = s.token(); err != nil {
			return err
		}
		if c == ']' {
			return nil
		}
		if c != ',' {
			return s.unexpected(c, "a comma or a closing bracket")
		}
	}
}

func (s *scanner) literal(rest string) error {
	for i := range len(rest) {
		c, err := s.next()
		if err != nil {
			return err
		}
		if c != rest[i] {
			return s.unexpected(c, "true, false or null")
		}
	}
	return nil
}

// number reads a number whose first byte was taken. It ends before the first
// byte that can't belong to it.
func (s *scanner) number(c byte) (err error) {
	if c == '-' {
		if c, err = s.next(); err != nil {
			return err
		}
		if c < '0' || c > '9' {
			return s.unexpected(c, "a digit")
		}
	}
	if c != '0' {
		if _, err = s.digits(); err != nil {
			return err
		}
	}
	if c, err = s.peek(); err == nil && c == '.' {
		s.r++
		if err = s.someDigits(); err != nil {
			return err
		}
		c, err = s.peek()
	}
	if err == nil && c|0x20 == 'e' {
		s.r++
		if c, err = s.peek(); err == nil && (c == '+' || c == '-') {
			s.r++
		}
		return s.someDigits()
	}
	return err
}

// digits takes all digits that follow.
func (s *scanner) digits() (n int, err error) {
	for {
		c, err := s.peek()
		if err != nil || c < '0' || c > '9' {
			return n, err
		}
		s.r++
		n++
	}
}

func (s *scanner) someDigits() error {
	n, err := s.digits()
	if err == nil && n == 0 {
		c, _ := s.next()
		return s.unexpected(c, "a digit")
	}
	return err
}
