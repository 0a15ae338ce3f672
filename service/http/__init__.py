"""HTTP itself: connections, requests as they arrive, and the answers to what fails."""
