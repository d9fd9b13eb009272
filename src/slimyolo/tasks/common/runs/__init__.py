"""What the tasks keep of a run, and how a run is found again and gone on with."""
