"""What programs that are written for the published interface import besides the client."""
