"""Who is admitted, who is next, and what runs together. Knows neither models nor HTTP."""
