"""From numbers to pictures: no reading, no computing beyond reshaping, one look for all."""
