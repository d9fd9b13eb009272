"""A person: traits, pose, and the painting of head, face, hair, mask, headwear and body."""
