"""One run of a job: what it was asked, what it reads, where it keeps what is done."""
