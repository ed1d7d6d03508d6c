"""What a job depends on, what it asks for, and where its files are."""
