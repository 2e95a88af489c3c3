"""The dashboard process: Streamlit in one ASGI application, and corrections of Streamlit."""
