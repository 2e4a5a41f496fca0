"""Read models derived from state; all may be deleted and come back byte-identical."""
