"""A service that runs generated programs in nsjail jails and says what each one did."""
