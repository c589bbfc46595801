"""What may be sent now: slots, rates and breakers. Pure; told the time."""
