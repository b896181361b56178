"""What remembers what a broker was given: a file, or a log that servers share."""
