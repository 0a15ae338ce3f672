"""The kinds of linear map that an encoder is made of."""
