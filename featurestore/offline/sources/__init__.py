"""What a view's source holds, as streams of rows."""
