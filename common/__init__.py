"""What both apps share: data, models, scopes, metrics, messages. Knows neither app."""
