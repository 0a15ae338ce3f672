"""Every method on one model, under one budget: rows, a picture, a recommendation."""
