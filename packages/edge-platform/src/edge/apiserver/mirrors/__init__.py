"""What the gateway knows by heart: objects of the API server, encoded once, fed by watches."""
