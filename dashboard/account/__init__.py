"""Pages outside Streamlit about the visitor: the second step of the sign-in, its set-up, and the account."""
