"""What people read: summary, report page and the tables of README, all written from the results' files."""
