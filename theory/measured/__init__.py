"""What was measured and is kept in files that the tests compare: scope by subject and family, and the impostors."""
