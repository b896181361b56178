"""What moves bytes between clients and a broker."""
