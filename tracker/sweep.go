package tracker

// Sweep does at once the slice of housekeeping that Run does four times a
// second, for those whose Config.Now does not go by itself.
func (t *Tracker) Sweep() { t.sweep() }
