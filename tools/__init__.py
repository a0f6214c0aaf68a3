"""What make calls: the test run, the lessons' execution, the search for a browser."""
