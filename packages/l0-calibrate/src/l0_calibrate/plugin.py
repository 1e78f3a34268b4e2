"""What this package brings, announced by the hooks that everyone uses."""
