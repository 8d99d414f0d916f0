"""What a project file may say, read with every mistake placed."""
