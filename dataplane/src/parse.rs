//! Parse: bytes from the wire to a [`Parsed`]. The only stage that meets unchecked bytes.
