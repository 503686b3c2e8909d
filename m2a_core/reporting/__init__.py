"""What every report is drawn with."""
