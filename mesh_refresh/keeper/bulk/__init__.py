"""What an operator does with many parked logins at once. Each class does it to one login."""
