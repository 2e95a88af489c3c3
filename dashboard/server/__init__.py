"""The dashboard's process: Streamlit inside one ASGI application, and the corrections it needs."""
