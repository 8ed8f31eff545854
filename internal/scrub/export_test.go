package scrub

// SaveEvery is for tests.
const SaveEvery = saveEvery
