// Gives the precompiled header an object library to belong to.
