"""What an operator does with many parked logins at once. Each call does it to one login, whatever became of that."""
