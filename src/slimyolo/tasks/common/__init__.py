"""What several commands share. It knows no command."""
