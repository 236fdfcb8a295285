"""What an encoder is worth: the protocols of the papers."""
